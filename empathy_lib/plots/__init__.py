"""Every figure the notebooks show: one function each, data in, matplotlib Figure out.

``style`` holds what all share (font, colours, captions, saving); the other modules follow the notebooks.
"""
