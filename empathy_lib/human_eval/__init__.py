"""Human evaluation by relative ranking: blinded study design, rating store, simulated raters, ranking statistics."""
