"""The parts of the stand-in Hub: its disk, its HTTP server, and the requests that it answers."""
