"""A long run of the default server at half its capacity, and memory over a thousand promotions."""
