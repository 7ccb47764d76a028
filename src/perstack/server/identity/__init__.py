"""Who one may be: keys, issuers of tokens, and whether a token is genuine. No database."""
