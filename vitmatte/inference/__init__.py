"""The same functions as the network, in bounded memory."""
