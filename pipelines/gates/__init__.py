"""Gates: the rules that judge a release, its verdict, waivers, and the pool of documents to judge."""
