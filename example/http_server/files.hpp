//
// http_server/files.hpp
// ~~~~~~~~~~~~~~~~~~~~~
// Files below a folder, for http_server.cpp. Everything here may block: call it
// inside spindle::blocking.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_EXAMPLE_HTTP_SERVER_FILES_HPP
#define SPINDLE_EXAMPLE_HTTP_SERVER_FILES_HPP

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <fcntl.h>
#include <optional>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <sys/types.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace http_server {

class descriptor {
public:
    descriptor() = default;
    explicit descriptor(int fd) noexcept : fd_(fd) {}
    descriptor(descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    descriptor& operator=(descriptor other) noexcept
    {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~descriptor()
    {
        if (fd_ >= 0)
            ::close(fd_);
    }

    int get() const noexcept { return fd_; }
    explicit operator bool() const noexcept { return fd_ >= 0; }

private:
    int fd_ = -1;
};

// Throws if there is no such folder.
inline descriptor open_root(std::string const& path)
{
    descriptor root(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!root)
        throw std::system_error(errno, std::generic_category(), "cannot open " + path);
    return root;
}

// "%41" is "A". Nothing where a '%' is not followed by two digits, or by 00.
inline std::optional<std::string> decoded(std::string_view text)
{
    auto const digit = [](char c) {
        return c >= '0' && c <= '9'   ? c - '0'
               : c >= 'a' && c <= 'f' ? c - 'a' + 10
               : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                      : -1;
    };
    std::string all;
    for (std::size_t i = 0; i != text.size(); ++i) {
        if (text[i] != '%') {
            all += text[i];
            continue;
        }
        if (text.size() - i < 3)
            return std::nullopt;
        auto const high = digit(text[i + 1]), low = digit(text[i + 2]);
        if (high < 0 || low < 0 || (high == 0 && low == 0))
            return std::nullopt;
        all += static_cast<char>(high * 16 + low);
        i += 2;
    }
    return all;
}

// A file that is open.
class file {
public:
    // errno says why there is none. `path` begins with '/', and is not decoded yet.
    //
    // Each part of the path is looked up in the folder before it, is one name, not "."
    // or "..", and no link is followed. So whatever a path looks like, it leads nowhere
    // but down from the root.
    static std::optional<file> open(descriptor const& root, std::string_view path)
    {
        descriptor folder;
        for (;;) {
            path.remove_prefix(1);
            auto const slash = path.find('/');
            auto const last = slash == path.npos;
            auto const name = last && path.empty() ? std::optional<std::string>("index.html")
                                                   : decoded(path.substr(0, slash));
            if (!name || name->empty() || *name == "." || *name == ".." ||
                name->find('/') != name->npos) {
                errno = ENOENT;
                return std::nullopt;
            }
            // O_NONBLOCK: a pipe must not make us wait for who writes to it.
            descriptor next(::openat(
                folder ? folder.get() : root.get(),
                name->c_str(),
                O_CLOEXEC | O_NOFOLLOW | (last ? O_RDONLY | O_NONBLOCK : O_PATH | O_DIRECTORY)));
            if (!next)
                return std::nullopt;
            if (last)
                return described(std::move(next), *name);
            folder = std::move(next);
            path.remove_prefix(slash);
        }
    }

    std::uint64_t size() const noexcept { return size_; }
    std::time_t modified() const noexcept { return modified_.tv_sec; }
    std::string_view type() const noexcept { return type_; }

    // Another one as soon as the file is written to: its size and its time.
    std::string tag() const
    {
        std::array<char, 64> text;
        auto const n = std::snprintf(
            text.data(),
            text.size(),
            "\"%llx-%llx%08lx\"",
            static_cast<unsigned long long>(size_),
            static_cast<unsigned long long>(modified_.tv_sec),
            static_cast<unsigned long>(modified_.tv_nsec));
        return {text.data(), static_cast<std::size_t>(n)};
    }

    // Fills `to` from there on; false if the file does not have so much (any more).
    bool read(std::uint64_t from, char* to, std::size_t size) const
    {
        for (std::size_t done = 0; done != size;) {
            auto const n =
                ::pread(fd_.get(), to + done, size - done, static_cast<::off_t>(from + done));
            if (n < 0 && errno == EINTR)
                continue;
            if (n <= 0)
                return false;
            done += static_cast<std::size_t>(n);
        }
        return true;
    }

private:
    static std::optional<file> described(descriptor fd, std::string_view name)
    {
        struct ::stat s;
        if (::fstat(fd.get(), &s) != 0)
            return std::nullopt;
        if (!S_ISREG(s.st_mode)) {
            errno = ENOENT;
            return std::nullopt;
        }
        file f;
        f.fd_ = std::move(fd);
        f.size_ = static_cast<std::uint64_t>(s.st_size);
        f.modified_ = s.st_mtim;
        f.type_ = type_of(name);
        return f;
    }

    static std::string_view type_of(std::string_view name)
    {
        static constexpr std::pair<std::string_view, std::string_view> known[] = {
            {".html", "text/html; charset=utf-8"},
            {".css", "text/css; charset=utf-8"},
            {".js", "text/javascript; charset=utf-8"},
            {".txt", "text/plain; charset=utf-8"},
            {".md", "text/markdown; charset=utf-8"},
            {".json", "application/json"},
            {".svg", "image/svg+xml"},
            {".png", "image/png"},
            {".jpg", "image/jpeg"},
            {".gif", "image/gif"},
            {".ico", "image/x-icon"},
            {".pdf", "application/pdf"},
            {".wasm", "application/wasm"},
        };
        for (auto const& [suffix, type] : known)
            if (name.ends_with(suffix))
                return type;
        return "application/octet-stream";
    }

    descriptor fd_;
    std::uint64_t size_ = 0;
    ::timespec modified_ = {};
    std::string_view type_;
};

// "Sun, 06 Nov 1994 08:49:37 GMT"
inline std::string http_date(std::time_t t)
{
    std::tm parts;
    ::gmtime_r(&t, &parts);
    std::array<char, 64> text;
    return {
        text.data(), std::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts)};
}

inline std::optional<std::time_t> from_http_date(std::string const& text)
{
    std::tm parts = {};
    auto const* const end = ::strptime(text.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
    if (!end || *end != '\0')
        return std::nullopt;
    return ::timegm(&parts);
}

} // namespace http_server

#endif // SPINDLE_EXAMPLE_HTTP_SERVER_FILES_HPP
