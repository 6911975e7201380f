"""What several tests stand on: brokers, sites, servers, processes, waiting."""
