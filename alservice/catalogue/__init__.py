"""Catalogues: read files of galaxies, images and recorded votes; pack images."""
