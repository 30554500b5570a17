/** How an address is reached: whether only from this machine, and whether the way is encrypted. */
export function reach(address: string): { local: boolean; encrypted: boolean } {
  let url: URL;
  try {
    url = new URL(address);
  } catch {
    return { local: false, encrypted: false };
  }
  const host = url.hostname.replace(/^\[|\]$/g, '');
  return { local: host === 'localhost' || host === '::1' || /^127\./.test(host), encrypted: url.protocol === 'https:' };
}
