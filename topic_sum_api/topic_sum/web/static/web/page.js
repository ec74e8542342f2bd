// The page: sends a text, shows its topic and summaries. Texts are shown as text, never as markup.
import { examples } from "./examples.js";

const $ = (id) => document.getElementById(id);
const settings = document.body.dataset;
const maxChars = Number(settings.maxChars);
const NO_LIMIT = Number($("length").max);
const BARS_AT_FIRST = 5;

const numbers = new Intl.NumberFormat("ru-RU");
const percent = new Intl.NumberFormat("ru-RU", { style: "percent", maximumFractionDigits: 0 });
const plural = new Intl.PluralRules("ru-RU");
const count = (n, one, few, many) =>
  `${numbers.format(n)} ${{ one, few }[plural.select(n)] ?? many}`;
const chars = (n) => count(n, "знак", "знака", "знаков");

let running = null; // the AbortController of the running request
let answered = null; // the question of the shown answer, without the length
let parts = null; // what of { topic, summary } the model can do; null until it is known

// ---- The form

function updateCounter() {
  const length = $("text").value.length;
  $("counter").textContent = length > maxChars ? `${chars(length)}, можно до ${numbers.format(maxChars)}` : chars(length);
  $("counter").classList.toggle("over", length > maxChars);
}

function updateOptions() {
  const limit = Number($("length").value);
  $("length-words").textContent = limit >= NO_LIMIT ? "без ограничения" : `до ${chars(limit)}`;
  $("length").setAttribute("aria-valuetext", $("length-words").textContent);
  $("variants-words").textContent = $("variants").value;
}

function fill(title, text) {
  $("title").value = title;
  $("text").value = text;
  updateCounter();
}

async function openFile(file) {
  if (!file) return;
  if (file.size > 4 * maxChars) {
    showError(`Файл «${file.name}» слишком большой: в нём больше ${numbers.format(maxChars)} знаков.`);
    return;
  }
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (bytes.includes(0)) {
    showError(`Файл «${file.name}» — не текст.`);
    return;
  }
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    text = new TextDecoder("windows-1251").decode(bytes); // what old Russian programs write
  }
  hideError();
  fill("", text);
  $("text").focus();
}

for (const example of examples) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = example.name;
  button.addEventListener("click", () => {
    fill(example.title, example.text);
    ask();
  });
  $("examples").append(button);
}

$("text").addEventListener("input", updateCounter);
$("variants").addEventListener("input", updateOptions);
$("length").addEventListener("input", updateOptions);
// Another length of a shown answer costs the server nothing: it keeps the whole summary.
$("length").addEventListener("change", () => {
  if (answered && answered === question().key) ask(false);
});
$("open").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", () => {
  openFile($("file").files[0]);
  $("file").value = "";
});
$("clear").addEventListener("click", () => {
  fill("", "");
  $("text").focus();
});
$("cancel").addEventListener("click", () => running?.abort());
$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    ask();
  }
});

for (const kind of ["dragenter", "dragover"]) {
  $("drop").addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.add("over");
  });
}
for (const kind of ["dragleave", "drop"]) {
  $("drop").addEventListener(kind, () => $("drop").classList.remove("over"));
}
$("drop").addEventListener("drop", (event) => {
  const [file] = event.dataTransfer.files;
  if (!file) return; // a piece of text was dropped: the field takes it by itself
  event.preventDefault();
  openFile(file);
});

// ---- Asking

function question() {
  const body = { text: $("text").value };
  const summary = parts?.summary ?? true;
  if (summary) body.variants = Number($("variants").value);
  if ($("title").value.trim()) body.title = $("title").value;
  const key = JSON.stringify(body);
  const limit = Number($("length").value);
  if (summary && limit < NO_LIMIT) body.max_chars = limit;
  return { body, key };
}

// A model may have both tasks or one of them; each has an address.
async function findParts() {
  if (parts) return;
  const response = await fetch(settings.tasks, { headers: headers() });
  if (!response.ok) return; // what is wrong will be said when a text is sent
  const names = (await response.json()).tasks.map(({ name }) => name);
  parts = { topic: names.includes("topic"), summary: names.includes("summarize") };
  const does = [parts.topic && "назовёт тему", parts.summary && "напишет краткий пересказ"].filter(Boolean);
  $("lead").textContent = does.length
    ? `Вставьте текст новости: модель ${does.join(" и ")}.`
    : `Эта модель не называет тем и не пишет пересказов. Её задачи: ${names.join(", ")} (см. API).`;
  $("send").disabled = !does.length;
  $("summary-options").hidden = !parts.summary;
}

function address() {
  if (parts && parts.topic !== parts.summary) return parts.topic ? settings.topic : settings.summarize;
  return settings.analyze;
}

function headers() {
  const key = $("key")?.value.trim();
  return {
    "Content-Type": "application/json",
    "Accept-Language": "ru",
    ...(key ? { Authorization: `Bearer ${key}` } : {}),
  };
}

async function ask(moveFocus = true) {
  if (running) return;
  hideError();
  if (!$("text").value.trim()) {
    showError("Вставьте текст новости или выберите пример.");
    $("text").focus();
    return;
  }
  running = new AbortController();
  const begun = performance.now();
  setBusy(true);
  const ticking = setInterval(() => setStatus(begun), 500);
  setStatus(begun);
  try {
    await findParts();
    const { body, key } = question();
    const response = await fetch(address(), {
      method: "POST",
      headers: headers(),
      body: JSON.stringify(body),
      signal: running.signal,
    });
    const answer = await response.json();
    if (!response.ok) throw new Refused(response.status, answer.error);
    show(answer);
    answered = key;
    if (moveFocus) reveal();
  } catch (problem) {
    if (problem.status === 404) parts = null; // another model serves now
    if (problem.name !== "AbortError") showError(inWords(problem));
  } finally {
    clearInterval(ticking);
    running = null;
    setBusy(false);
  }
}

class Refused extends Error {
  constructor(status, error) {
    super(error?.message ?? "");
    this.status = status;
  }
}

function inWords(problem) {
  if (problem instanceof Refused) {
    if (problem.status === 401 && $("key")) $("key").focus();
    return problem.message || `Сервер ответил кодом ${problem.status}.`;
  }
  if (problem instanceof TypeError) return "Сервер не отвечает. Проверьте, что он запущен, и повторите.";
  return "Ответ сервера не удалось прочитать. Повторите ещё раз.";
}

function setBusy(busy) {
  $("send").disabled = busy || Boolean(parts && !parts.topic && !parts.summary);
  $("send").textContent = busy ? "Читаю…" : "Разобрать";
  $("cancel").hidden = !busy;
  $("status").hidden = !busy;
  $("empty").hidden = busy || !$("result").hidden || !$("error").hidden;
}

function setStatus(begun) {
  const seconds = Math.floor((performance.now() - begun) / 1000);
  $("status").textContent = seconds < 1 ? "Читаю текст…" : `Читаю текст… ${seconds} с`;
}

function showError(words) {
  $("error").textContent = words;
  $("error").hidden = false;
  $("empty").hidden = true;
  if (innerWidth < 960) $("error").scrollIntoView({ block: "nearest" });
}

function hideError() {
  $("error").hidden = true;
}

// ---- The answer

function show(answer) {
  $("empty").hidden = true;
  $("result").hidden = false;
  const reasons = {
    too_short: "Текст слишком короткий, чтобы назвать тему.",
    unsure: "Ни одна тема не набрала столько, чтобы эта модель за неё ручалась.",
  };
  $("topic-part").hidden = !answer.scores;
  $("topic").textContent = answer.name ?? "Тема не ясна";
  $("topic-why").textContent = reasons[answer.reason] ?? "";
  $("topic-why").hidden = !answer.reason;
  showBars(answer.scores ?? [], Boolean(answer.topic));

  const drafts = answer.variants ?? ("summary" in answer ? [answer] : []);
  $("summary-part").hidden = !drafts.length;
  $("summaries").replaceChildren(...drafts.map((draft, index) => summaryCard(draft, index, drafts.length)));
  $("legend").hidden = !drafts.some((draft) => draft.unsupported.length);
  showFacts(answer, drafts.length);
}

function showBars(scores, sure, all = false) {
  const shown = all ? scores : scores.slice(0, BARS_AT_FIRST);
  $("bars").replaceChildren(
    ...shown.map(({ name, score }, index) => {
      const row = document.createElement("li");
      row.className = index === 0 && sure ? "best" : "";
      const track = element("span", "track");
      const fill = element("span", "fill");
      track.append(fill);
      track.setAttribute("aria-hidden", "true");
      row.append(element("span", "", name), track, element("span", "share", percent.format(score)));
      requestAnimationFrame(() => (fill.style.width = `${score * 100}%`));
      return row;
    }),
  );
  const rest = scores.length - shown.length;
  $("more-bars").hidden = rest === 0;
  $("more-bars").textContent = `ещё ${count(rest, "тема", "темы", "тем")}`;
  $("more-bars").onclick = () => showBars(scores, sure, true);
}

function summaryCard({ summary, unsupported }, index, total) {
  const card = element("article", "summary");
  const text = document.createElement("p");
  if (summary) text.append(...marked(summary, unsupported));
  else text.append(element("span", "quiet", "Модель не нашла, что сказать."));
  const copy = element("button", "", "Скопировать");
  copy.type = "button";
  copy.setAttribute("aria-label", total > 1 ? `Скопировать вариант ${index + 1}` : "Скопировать пересказ");
  copy.addEventListener("click", () => copyText(summary, copy, card));
  const under = element("div", "under");
  under.append(element("span", "", total > 1 ? `Вариант ${index + 1}, ${chars(summary.length)}` : chars(summary.length)), copy);
  card.append(text, under);
  return card;
}

// Offsets count Unicode characters, as Python does; JavaScript's strings count UTF-16 units.
function marked(summary, unsupported) {
  const points = Array.from(summary);
  const parts = [];
  let at = 0;
  for (const { start, end, kind } of unsupported) {
    parts.push(points.slice(at, start).join(""));
    const mark = element("mark", "", points.slice(start, end).join(""));
    mark.title = kind === "number" ? "Этого числа нет ни в тексте, ни в заголовке" : "Этого имени нет ни в тексте, ни в заголовке";
    parts.push(mark);
    at = end;
  }
  parts.push(points.slice(at).join(""));
  return parts;
}

async function copyText(text, button, card) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without https the clipboard is closed to scripts: select the text and use the old command.
    getSelection().selectAllChildren(card.querySelector("p"));
    if (!document.execCommand("copy")) {
      button.textContent = "Выделено: Ctrl+C";
      return;
    }
  }
  for (const other of document.querySelectorAll(".summary.chosen")) other.classList.remove("chosen");
  card.classList.add("chosen");
  button.textContent = "Скопировано";
  setTimeout(() => (button.textContent = "Скопировать"), 2000);
}

function showFacts(answer, drafts) {
  const { source, topic_source: decided, model, milliseconds, cached } = answer;
  const facts = [];
  if (source) {
    const tokens = count(source.tokens, "токен", "токена", "токенов");
    const read = source.cut
      ? `Из ${count(source.chars, "знака", "знаков", "знаков")} прочитано только начало (${tokens})`
      : `Прочитано ${chars(source.chars)} (${tokens})`;
    const windows = source.windows > 1 ? ` по частям: ${source.windows}; пересказы частей сведены в один` : "";
    facts.push([`${read}${windows}.`, source.cut ? "warn" : ""]);
  }
  if (decided?.cut) facts.push([`Тема определена по началу: ${chars(decided.read)} из ${decided.chars.toLocaleString("ru-RU")}.`]);
  const asked = Number($("variants").value);
  if (source && drafts < asked) facts.push([`Разных вариантов нашлось: ${drafts} из ${asked}.`]);
  const seconds = (milliseconds / 1000).toLocaleString("ru-RU", { maximumFractionDigits: 2 });
  facts.push([`Время: ${seconds} с${cached ? ", ответ был готов" : ""}.`]);
  facts.push([`Модель ${model.repo}, ревизия ${model.revision.slice(0, 8)}; данные ${model.dataset_revision.slice(0, 8)}.`]);
  $("facts").replaceChildren(...facts.map(([words, kind]) => element("li", kind ?? "", words)));
}

function reveal() {
  if (innerWidth < 960) $("answer-title").scrollIntoView({ block: "start" });
  $("answer-title").focus({ preventScroll: true });
}

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// ---- The model, in the footer

async function showModel() {
  try {
    const ready = await fetch(settings.ready);
    if (ready.ok) {
      const response = await fetch(settings.model, { headers: headers() });
      if (response.ok) {
        const model = await response.json();
        const local = model.from_local_copy ? " (локальная копия: хранилище моделей не отвечает)" : "";
        $("model").textContent = `Модель ${model.repo}, ревизия ${model.revision.slice(0, 8)}${local}`;
        await findParts();
      } else {
        $("model").textContent = "Модель загружена";
      }
      return;
    }
    $("model").textContent = "Модель ещё загружается…";
  } catch {
    $("model").textContent = "Сервер не отвечает";
  }
  setTimeout(showModel, 3000);
}

updateCounter();
updateOptions();
showModel();
