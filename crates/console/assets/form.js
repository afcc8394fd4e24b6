// Small help in forms: show a password, and leave empty filters out of the URL.
for (const input of document.querySelectorAll("input[data-reveal]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet-button";
  const show = (shown) => {
    input.type = shown ? "text" : "password";
    button.textContent = shown ? "Hide" : "Show";
    button.setAttribute("aria-label", shown ? "Hide the password" : "Show the password");
  };
  button.addEventListener("click", () => show(input.type === "password"));
  const box = document.createElement("span");
  box.className = "reveal";
  input.replaceWith(box);
  box.append(input, button);
  show(false);
  input.form?.addEventListener("submit", () => show(false));
  if (input.autofocus) input.focus();
}

for (const form of document.querySelectorAll("form[method=get]")) {
  form.addEventListener("submit", () => {
    for (const field of form.elements) {
      if (field.name && !field.value) field.disabled = true;
    }
  });
  // Back from the next page, the fields are wanted again.
  addEventListener("pageshow", () => {
    for (const field of form.elements) field.disabled = false;
  });
}
