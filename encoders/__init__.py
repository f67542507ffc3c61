"""From raw clicks to a buyer type: logs, features, the VQ-VAE, training, artefacts and serving."""
