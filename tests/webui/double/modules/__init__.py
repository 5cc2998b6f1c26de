"""A stand-in for the WebUI's modules: as much of them as EBCA touches, with the same names, order and habits."""
