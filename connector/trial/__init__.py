"""A scripted call against a customer's bot, over the dialling, the dialect and the media path that real calls take."""
