"""One spider a site; each says where to look, `gazeta.crawl.spider` does the rest."""
