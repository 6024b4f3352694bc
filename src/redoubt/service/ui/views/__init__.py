"""What pages show: from the log, the store and the policy, in bounded amounts."""
