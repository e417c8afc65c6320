"""For tests, ours and yours: builders of values, checks of contracts, and the one check command."""
