//
// spindle/asio/resolve.hpp
// ~~~~~~~~~~~~~~~~~~~~~~~~
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_ASIO_RESOLVE_HPP
#define SPINDLE_ASIO_RESOLVE_HPP

#include <spindle/config.hpp>
#include <spindle/detail/asio/name_query.hpp>
#include <spindle/error.hpp>

#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/basic_resolver_results.hpp>
#include <boost/asio/ip/resolver_base.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>

namespace spindle {

namespace detail {

// What needs nobody to be asked: an address and a port in numbers.
template <class Protocol>
bool resolve_numbers(
    std::string_view host, std::string_view service, int family,
    boost::asio::ip::basic_resolver_results<Protocol>& results)
{
    std::uint16_t port = 0;
    auto const* const end = service.data() + service.size();
    if (auto const r = std::from_chars(service.data(), end, port);
        r.ec != std::errc() || r.ptr != end)
        return false;
    error_code ec;
    std::string const name(host);
    auto const address = boost::asio::ip::make_address(name, ec);
    if (ec || (family != AF_UNSPEC && family != (address.is_v4() ? AF_INET : AF_INET6)))
        return false;
    results = boost::asio::ip::basic_resolver_results<Protocol>::create(
        typename Protocol::endpoint(address, port), name, std::string(service));
    return true;
}

template <class Protocol>
boost::asio::ip::basic_resolver_results<Protocol> resolve_name(
    int family, std::string_view host, std::string_view service,
    boost::asio::ip::resolver_base::flags flags, error_code& ec)
{
    using results = boost::asio::ip::basic_resolver_results<Protocol>;
    using base = boost::asio::ip::resolver_base;

    auto const without_effect
        = base::numeric_host | base::numeric_service | base::address_configured;
    results numbers;
    if (!may_resolve()) {
        ec = operation_aborted();
        return {};
    }
    if ((static_cast<int>(flags) & ~static_cast<int>(without_effect)) == 0 // Asio's ~ is undefined
        && resolve_numbers<Protocol>(host, service, family, numbers)) {
        ec = {};
        return numbers;
    }
    auto const protocol = typename Protocol::endpoint().protocol();
    ::addrinfo hints{};
    hints.ai_flags = static_cast<int>(flags);
    hints.ai_family = family;
    hints.ai_socktype = protocol.type();
    hints.ai_protocol = protocol.protocol();
    boost::intrusive_ptr<name_query> const query(
        new name_query(std::string(host), std::string(service), hints));
    ec = name_query::wait(query);
    if (ec)
        return {};
    return results::create(query->found(), query->host(), query->service());
}

} // namespace detail

/// Resolves a host and a service to endpoints.
/**
 * As Asio's resolver, but a stop of the fiber, a `cancel_scope` or its deadline ends it at
 * once: the question goes on without the fiber, on a thread of its own, and its answer is
 * dropped. Asio's cannot be cancelled once its thread has begun, and asks one question at a
 * time for each io_context; here as many as 64 are asked at once.
 *
 * @par Example
 * @code
 * auto const endpoints = spindle::within(2s, [&] { return spindle::resolve(host, "https"); });
 * asio::async_connect(socket, endpoints, spindle::use_fiber);
 * @endcode
 *
 * @tparam Protocol `tcp`, `udp`, `icmp`.
 *
 * @param host A name or an address; with `flags` `passive` it may be empty.
 *
 * @param service A name or a port. Where both are numbers nobody is asked.
 *
 * @par Blocking
 * Parks the fiber; blocks a plain thread. In a completion handler: throws
 * `errc::not_in_fiber`.
 *
 * @par Cancellation
 * A cancellation point.
 *
 * @throws system_error What Asio's resolver reports: `asio::error::host_not_found`,
 * `host_not_found_try_again`, `service_not_found`, ...; `operation_aborted`;
 * `errc::thread_limit` if the system has no thread at all for the question.
 */
template <class Protocol = boost::asio::ip::tcp>
[[nodiscard]] boost::asio::ip::basic_resolver_results<Protocol> resolve(
    std::string_view host, std::string_view service,
    boost::asio::ip::resolver_base::flags flags = {})
{
    error_code ec;
    auto results = detail::resolve_name<Protocol>(AF_UNSPEC, host, service, flags, ec);
    if (ec)
        detail::throw_error(ec);
    return results;
}

/// As above; an error of the resolver's, or `operation_aborted`, goes to `ec`.
template <class Protocol = boost::asio::ip::tcp>
[[nodiscard]] boost::asio::ip::basic_resolver_results<Protocol> resolve(
    std::string_view host, std::string_view service,
    boost::asio::ip::resolver_base::flags flags, error_code& ec)
{
    return detail::resolve_name<Protocol>(AF_UNSPEC, host, service, flags, ec);
}

/// As above, without flags.
template <class Protocol = boost::asio::ip::tcp>
[[nodiscard]] boost::asio::ip::basic_resolver_results<Protocol> resolve(
    std::string_view host, std::string_view service, error_code& ec)
{
    return detail::resolve_name<Protocol>(AF_UNSPEC, host, service, {}, ec);
}

/// Addresses of one family only: `resolve(tcp::v6(), host, service)`.
template <class Protocol>
    requires requires(Protocol const& p) { p.family(); }
[[nodiscard]] boost::asio::ip::basic_resolver_results<Protocol> resolve(
    Protocol const& protocol, std::string_view host, std::string_view service,
    boost::asio::ip::resolver_base::flags flags = {})
{
    error_code ec;
    auto results
        = detail::resolve_name<Protocol>(protocol.family(), host, service, flags, ec);
    if (ec)
        detail::throw_error(ec);
    return results;
}

/// As above; an error of the resolver's, or `operation_aborted`, goes to `ec`.
template <class Protocol>
    requires requires(Protocol const& p) { p.family(); }
[[nodiscard]] boost::asio::ip::basic_resolver_results<Protocol> resolve(
    Protocol const& protocol, std::string_view host, std::string_view service,
    boost::asio::ip::resolver_base::flags flags, error_code& ec)
{
    return detail::resolve_name<Protocol>(protocol.family(), host, service, flags, ec);
}

} // namespace spindle

#endif // SPINDLE_ASIO_RESOLVE_HPP
