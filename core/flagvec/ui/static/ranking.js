// The scores of several representations as one: what flagvec.search.fusion computes, in the page.

export const NAMES = { dense: "Dense", sparse: "Sparse", colbert: "ColBERT" };

export const RANKINGS = [
  { id: "weights", label: "Weights", needs: ["sparse"], note: "The weighted mean of the scores, which the sliders set." },
  { id: "ranks", label: "Ranks", needs: ["sparse"], note: "Reciprocal rank fusion: adds 1 / (60 + rank) of dense and sparse." },
  { id: "rerank", label: "ColBERT", needs: ["colbert"], note: "ColBERT orders what the others found." },
  { id: "dense", label: "Dense", needs: ["dense"], note: "The dot product of the dense vectors." },
  { id: "sparse", label: "Sparse", needs: ["sparse"], note: "The dot product of the lexical weights." },
];

/** Return the weights above zero. */
export const used = (weights) => Object.fromEntries(Object.entries(weights).filter(([, weight]) => weight > 0));

/** Return what each representation adds to the fused score. The parts add up to the score. */
export function parts(scores, weights) {
  const counted = used(weights);
  const total = Object.values(counted).reduce((sum, weight) => sum + weight, 0);
  return Object.fromEntries(Object.entries(counted).map(([name, weight]) => [name, (weight * scores[name]) / total]));
}

/** Return the fused score; NaN if a score is not known. */
export const fused = (scores, weights) => Object.values(parts(scores, weights)).reduce((sum, part) => sum + part, 0);

/** Return candidates with new scores, best first, equal scores by id. Those without a needed score are left out. */
export function ranked(candidates, weights) {
  // Without a weight for dense vectors, the store finds only what has a token in common with the query.
  const needsToken = !(weights.dense > 0) && weights.sparse > 0;
  return [...candidates]
    .filter((hit) => !needsToken || hit.scores.sparse > 0)
    .map((hit) => ({ ...hit, score: fused(hit.scores, weights) }))
    .filter((hit) => Number.isFinite(hit.score))
    .sort((a, b) => b.score - a.score || (a.id < b.id ? -1 : 1));
}

/** Return the options of a search. */
export function options(ranking, weights) {
  if (ranking === "weights") return { mode: "hybrid", fusion: used(weights) };
  if (ranking === "ranks") return { mode: "hybrid", fusion: "rrf" };
  if (ranking === "rerank") return { rerank: "colbert" };
  return { mode: ranking };
}

const shown = (weight) => String(Math.round(weight * 1e4) / 1e4);

/** Return the options as arguments of `store.search`. */
export function pythonLine(ranking, weights) {
  if (ranking === "weights") {
    const items = Object.entries(used(weights)).map(([name, weight]) => `"${name}": ${shown(weight)}`);
    return `fusion={${items.join(", ")}}`;
  }
  if (ranking === "ranks") return 'fusion="rrf"';
  return ranking === "rerank" ? 'rerank="colbert"' : `mode="${ranking}"`;
}
