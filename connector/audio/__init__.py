"""Pure functions on samples: codecs and the tone meter."""
