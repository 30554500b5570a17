/** What the node calls the machine that it runs on: no name. */
const OWN = 'this machine';

/** What the node says in lower case and without a full stop, as a sentence. A name of a node that it may begin with
    keeps its case. */
export function sentence(text: string, ...names: (string | null | undefined)[]): string {
  const trimmed = text.trim();
  if (trimmed === '') return '';
  // A name such as `price.embed` keeps its case.
  const named = names.some((name) => name && name !== OWN && trimmed.startsWith(name));
  const first = !named && /^[a-z]+([\s,:;]|$)/.test(trimmed) ? trimmed.charAt(0).toUpperCase() + trimmed.slice(1) : trimmed;
  return /[.!?…]$/.test(first) ? first : `${first}.`;
}
