"""Several processes that train one model: how they meet, and how terms are wrapped. Shards are asked about here."""
