// Kudos: keeps the clicks that led here, and tells what came of them. See server/redirect/README.md.
(function (window, document) {
  if (window.kudos && window.kudos.report) return;
  var script = document.currentScript || {dataset: {}};
  var own = script.dataset;
  var key = "kudos_clicks", name = own.param || "kudos_id", most = 10;
  var url = own.beacon || new URL("/-/beacon", script.src || location.href).href;
  var store, clicks = [];

  // With Global Privacy Control nothing is kept: a click counts on the page that it led to, and no further.
  try {
    if (!navigator.globalPrivacyControl) store = window.localStorage;
    else window.localStorage.removeItem(key);
    clicks = JSON.parse(store.getItem(key)).filter(function (id) { return typeof id == "string"; });
  } catch (nothing) {}

  var id = new URLSearchParams(location.search).get(name);
  if (id && id.length < 129) {
    if (clicks[clicks.length - 1] != id) clicks.push(id);
    clicks = clicks.slice(-most);
    try { store.setItem(key, JSON.stringify(clicks)); } catch (full) {}
  }

  function report(told) {
    var body = {}, sent = false, text;
    for (var member in told) body[member] = told[member];
    if (clicks.length) {
      if (!body.click_id) body.click_id = clicks[clicks.length - 1];
      body.click_ids = clicks;
    }
    text = JSON.stringify(body);
    try { sent = navigator.sendBeacon(url, new Blob([text], {type: "text/plain"})); } catch (old) {}
    if (!sent) fetch(url, {method: "POST", body: text, keepalive: true, mode: "no-cors"}).catch(function () {});
    return sent;
  }

  window.kudos = {report: report, clicks: function () { return clicks.slice(); }};

  // <script src=".../-/kudos.js" data-event="sale" data-order_id="A-1" data-amount="49.90" ...>
  if (own.event) {
    var told = {};
    for (var member in own) if (member != "param" && member != "beacon") told[member] = own[member];
    report(told);
  }
})(window, document);
