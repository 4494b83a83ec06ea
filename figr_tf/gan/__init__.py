"""FIGR: a generator and a discriminator, meta-trained with Reptile (Clouâtre & Demers 2019)."""
