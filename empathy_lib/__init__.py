"""Empathy-R1, reproduced: the thin library behind the six notebooks."""

import warnings

warnings.filterwarnings("ignore", message="IProgress not found")  # tqdm asks for ipywidgets; a text bar will do

__version__ = "0.1.0"
