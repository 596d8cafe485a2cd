// Requests to api/v1, relative to where the page is mounted.

/**
 * The response to a path below api/v1/. A redirect is not followed: it leads to a sign-in page.
 * @param {string} path
 */
export function fetchApi(path) {
  return fetch(new URL(`api/v1/${path}`, document.baseURI), { redirect: "manual" });
}

/**
 * The JSON at a path below api/v1/; rejects unless the status is 2xx.
 * @param {string} path
 */
export async function fetchJson(path) {
  const response = await fetchApi(path);
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}
