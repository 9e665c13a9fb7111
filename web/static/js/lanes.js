/** The lanes, by the numbers that request terms have for them: `marketplace.vocabulary.Lane`. */

export const VAULT = 1;
export const HOMOMORPHIC = 2;
