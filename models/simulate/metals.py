"""Lattice constants of the face-centred cubic metals that are simulated and measured."""

# At room temperature, nm (Ashcroft and Mermin, Solid State Physics, table 4.1).
LATTICE_NM = {"Au": 0.4078, "Pt": 0.3924, "Pd": 0.3891, "Ni": 0.3524, "Cu": 0.3615, "Al": 0.4050}
