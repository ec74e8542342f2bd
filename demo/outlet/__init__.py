"""The parts of the stand-in news site: its stories, their markup, its lists and its awkward pages."""
