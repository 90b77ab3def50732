#include <curl/curl.h>

#include "fetch/fetch.h"

static const char *status_text(int status) {
    static const struct {
        int status;
        const char *text;
    } known[] = {
        {400, "HTTP status 400, bad request"},
        {401, "HTTP status 401, unauthorized"},
        {403, "HTTP status 403, forbidden"},
        {404, "HTTP status 404, not found"},
        {405, "HTTP status 405, method not allowed"},
        {408, "HTTP status 408, request timeout"},
        {410, "HTTP status 410, gone"},
        {414, "HTTP status 414, URI too long"},
        {418, "HTTP status 418, I'm a teapot"},
        {429, "HTTP status 429, too many requests"},
        {451, "HTTP status 451, unavailable for legal reasons"},
        {500, "HTTP status 500, internal server error"},
        {501, "HTTP status 501, not implemented"},
        {502, "HTTP status 502, bad gateway"},
        {503, "HTTP status 503, service unavailable"},
        {504, "HTTP status 504, gateway timeout"},
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (known[i].status == status) {
            return known[i].text;
        }
    }
    return status < 500 ? "an HTTP status from 400 on: the request is at fault"
                        : "an HTTP status from 500 on: the server is at fault";
}

const char *fetch_error_text(int error) {
    if (error <= 0) {
        return error == 0 ? "no error" : memo_error_text(error);
    }
    return error < 400 ? curl_easy_strerror((CURLcode)error)
                       : status_text(error);
}
