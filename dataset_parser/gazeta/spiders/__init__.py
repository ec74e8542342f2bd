"""One spider a site; each says where to look, `gazeta.crawling` does the rest."""
