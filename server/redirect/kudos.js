// Kudos: keeps the clicks that led to this shop, and tells what came of them. server/conversions/README.md
(function (window, document) {
  var waiting = window.kudos || [];
  if (waiting.report) return;
  var script = document.currentScript || {}, own = script.dataset || {};
  var url = own.beacon || new URL("/-/beacon", script.src || location.href).href;
  var key = "kudos_clicks", clicks = [], store;

  // Under Global Privacy Control nothing is kept: a click counts on the page that it led to.
  try {
    if (navigator.globalPrivacyControl) localStorage.removeItem(key);
    else store = localStorage;
    clicks = JSON.parse(store.getItem(key)).filter(function (id) { return typeof id == "string"; });
  } catch (none) {}
  var id = new URLSearchParams(location.search).get(own.param || "kudos_id");
  if (id && id.length < 129 && clicks[clicks.length - 1] != id) {
    clicks = clicks.concat(id).slice(-10);
    try { store.setItem(key, JSON.stringify(clicks)); } catch (full) {}
  }

  function report(told) {
    var body = {}, sent;
    if (clicks.length) {
      body.click_id = clicks[clicks.length - 1];
      body.click_ids = clicks;
    }
    for (var name in told) body[name] = told[name];
    body = JSON.stringify(body);
    try { sent = navigator.sendBeacon(url, new Blob([body], {type: "text/plain"})); } catch (old) {}
    if (!sent) fetch(url, {method: "POST", body: body, keepalive: true, mode: "no-cors"}).catch(function () {});
  }

  window.kudos = {report: report, push: report, clicks: function () { return clicks.slice(); }};
  [].concat(waiting).forEach(report);
  if (own.event) {
    var told = {};
    for (var name in own) if (name != "param" && name != "beacon") told[name] = own[name];
    report(told);
  }
})(window, document);
