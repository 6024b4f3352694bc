"""What analysers remember, in bounded memory."""
