"""What happens around a worker (brokers, clocks, topics, neighbours), and what it says and does. One module per fault."""
