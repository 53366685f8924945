"""Empathy-R1, reproduced: the thin library behind the six notebooks."""

import warnings

# tqdm asks for ipywidgets; a text bar will do
warnings.filterwarnings("ignore", message="IProgress not found")

__version__ = "0.1.0"
