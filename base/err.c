#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int err_set(struct err *e, int code, const char *fmt, ...)
{
    if (!e)
        return code;
    char text[sizeof(e->text)]; /* the arguments may point into e->text */
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    e->code = code;
    memcpy(e->text, text, sizeof(text));
    return code;
}

static int code_of_errno(int number)
{
    switch (number) {
    case ENOENT:
    case ENOTDIR:
    case ESRCH: return ERR_NOENT;
    case EEXIST:
    case ENOTEMPTY: return ERR_EXIST;
    case EACCES:
    case EPERM:
    case EROFS: return ERR_DENIED;
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return ERR_FULL;
    case ETIMEDOUT: return ERR_TIMEOUT;
    case EINVAL:
    case ENAMETOOLONG:
    case EISDIR:
    case ELOOP: return ERR_INVAL;
    case ERANGE:
    case EOVERFLOW: return ERR_RANGE;
    case ENOSYS:
    case EOPNOTSUPP: return ERR_UNSUPPORTED;
    default: return ERR_IO;
    }
}

int err_sys(struct err *e, const char *fmt, ...)
{
    int number = errno;
    char what[sizeof(e->text)], buf[128];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    const char *why = strerror_r(number, buf, sizeof(buf)); /* GNU's: returns the text */
    int code = err_set(e, code_of_errno(number), "%s: %s", what, why);
    errno = number;
    return code;
}

int err_prefix(struct err *e, const char *fmt, ...)
{
    if (!e)
        return ERR_INVAL;
    char what[sizeof(e->text)];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    return err_set(e, e->code, "%s: %s", what, e->text);
}

const char *err_name(int code)
{
    switch (code) {
    case ERR_OK: return "OK";
#define ERR_NAME_(name, text)                                                            \
    case ERR_##name: return #name;
        ERR_MAP(ERR_NAME_)
#undef ERR_NAME_
    default: return "UNKNOWN";
    }
}

const char *err_text(int code)
{
    switch (code) {
    case ERR_OK: return "success";
#define ERR_TEXT_(name, text)                                                            \
    case ERR_##name: return text;
        ERR_MAP(ERR_TEXT_)
#undef ERR_TEXT_
    default: return "unknown error";
    }
}
