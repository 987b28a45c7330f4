"""Everything that speaks to Asterisk: AMI, ARI, and what is made of their messages."""
