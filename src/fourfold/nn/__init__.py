"""Networks: they know no paradigm, compute in the dtype of their weights, and take and return float32."""
