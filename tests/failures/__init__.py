"""What a cluster's clients see while its hosts fail: a client that writes all the time, faults,
and what is concluded from both."""
