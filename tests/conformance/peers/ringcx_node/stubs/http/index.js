// Never loaded: `require("http")` is a module of Node itself.
