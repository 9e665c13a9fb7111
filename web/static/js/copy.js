/** A button beside each whole hash that copies it. Without this module the hash can still be selected. */

function button() {
  const made = document.createElement('button');
  made.type = 'button';
  made.className = 'copy';
  made.textContent = 'Copy';
  return made;
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return 'Copied.';
  } catch {
    return 'This browser does not let pages copy: select it and copy by hand.';
  }
}

/** @param {HTMLElement} code within its parent; its whole text is what is copied */
export function offerCopy(code) {
  const made = button();
  const said = document.createElement('span');
  said.className = 'note';
  said.setAttribute('role', 'status');
  made.addEventListener('click', async () => (said.textContent = await copied(code.textContent)));
  code.after(made, ' ', said);
}

document.querySelectorAll('.hash .full').forEach(offerCopy);
