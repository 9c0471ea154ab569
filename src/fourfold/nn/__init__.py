"""Networks. They know nothing of paradigms, compute in the dtype of their weights, and take and return float32."""
