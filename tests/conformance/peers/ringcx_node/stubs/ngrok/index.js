// Not called: the receiver is given an address of its own.
