"""Negatives that copy the post."""

from empathy_lib.reward import triplets


def test_copies_are_copies(rng):
    post = "我很累。我们吵架了！怎么办？"
    assert triplets.copy_of(post, "copy_whole", rng) == post
    assert triplets.copy_of(post, "copy_partial", rng) in post
    rephrased = [triplets.copy_of(post, "copy_rephrased", rng) for _ in range(20)]
    assert all("我很累" not in text and "我们吵" not in text for text in rephrased)
