"""The server of one model: settings, key check, queue, decoding, Predict, health, drain."""
