"""The parts of the stand-in news site: stories, layouts, lists, special pages, routes and server."""
