"""Gates: the rule that judges a release, the verdict it gives, waivers, and the pool of documents to judge."""
