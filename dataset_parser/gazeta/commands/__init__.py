"""Scrapy commands of ours: `crawl` with true exit codes."""
