-- wrk script: clicks on LINKS links at random (/PREFIX1 …) with the headers of a phone; CLOSE asks for
-- each connection to be closed. Prints one line for turns.py at the end.
local links = tonumber(os.getenv("LINKS"))
local prefix = os.getenv("PREFIX") or "n"
local requests = {}

function init()
    math.randomseed(tonumber(os.getenv("SEED") or "1"))
    local headers = {
        ["Host"] = os.getenv("HOST"),
        ["User-Agent"] = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 "
            .. "(KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
        ["Accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        ["Accept-Language"] = "de-DE,de;q=0.9,en;q=0.7",
        ["Accept-Encoding"] = "gzip, deflate, br",
        ["Referer"] = "https://www.instagram.com/",
        ["Sec-Fetch-Dest"] = "document",
        ["Sec-Fetch-Mode"] = "navigate",
        ["Sec-Fetch-Site"] = "cross-site",
        ["Upgrade-Insecure-Requests"] = "1",
    }
    if os.getenv("CLOSE") then
        headers["Connection"] = "close"
    end
    for i = 1, links do
        requests[i] = wrk.format("GET", "/" .. prefix .. i, headers)
    end
end

function request()
    return requests[math.random(links)]
end

function done(summary)
    local errors = summary.errors
    io.write(string.format("RESULT requests=%d us=%d not3xx=%d broken=%d\n",
        summary.requests, summary.duration, errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
