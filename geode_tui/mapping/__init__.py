"""How tables become a graph: rules, inference, SQL and GQL text, findings. Pure, no connection."""
