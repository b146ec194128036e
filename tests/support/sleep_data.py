"""Data of textbooks."""

from __future__ import annotations

# Hours of sleep gained on drug 1 and on drug 2 by ten patients (Cushny and Peebles 1905, in Student 1908).
DRUG_1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]


DRUG_2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
