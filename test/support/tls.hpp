//
// support/tls.hpp
// ~~~~~~~~~~~~~~~
// TLS without files: a key and a certificate made here. For tests that say
// "build: openssl".
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

#ifndef SPINDLE_TEST_SUPPORT_TLS_HPP
#define SPINDLE_TEST_SUPPORT_TLS_HPP

#include <boost/asio/ssl.hpp>
#include <boost/test/unit_test.hpp>

#include <memory>

#include <openssl/evp.h>
#include <openssl/x509.h>

namespace spindle_test {

namespace ssl = boost::asio::ssl;

// A key and a certificate for it, signed by itself, that nobody keeps.
inline void use_certificate_of_our_own(ssl::context& context)
{
    std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> const key(
        EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"), &EVP_PKEY_free);
    std::unique_ptr<X509, decltype(&X509_free)> const certificate(X509_new(), &X509_free);
    BOOST_TEST_REQUIRE(!!key);
    auto* const c = certificate.get();
    ASN1_INTEGER_set(X509_get_serialNumber(c), 1);
    X509_gmtime_adj(X509_getm_notBefore(c), 0);
    X509_gmtime_adj(X509_getm_notAfter(c), 3600);
    X509_set_pubkey(c, key.get());
    auto* const name = X509_get_subject_name(c);
    X509_NAME_add_entry_by_txt(
        name, "CN", MBSTRING_ASC, reinterpret_cast<unsigned char const*>("test"), -1, -1, 0);
    X509_set_issuer_name(c, name);
    BOOST_TEST_REQUIRE(X509_sign(c, key.get(), EVP_sha256()) != 0);
    BOOST_TEST_REQUIRE(SSL_CTX_use_certificate(context.native_handle(), c) == 1);
    BOOST_TEST_REQUIRE(SSL_CTX_use_PrivateKey(context.native_handle(), key.get()) == 1);
}

// Both ends, who trust each other blindly.
struct tls_contexts {
    tls_contexts()
    {
        use_certificate_of_our_own(server);
        client.set_verify_mode(ssl::verify_none);
    }

    ssl::context server{ssl::context::tls_server};
    ssl::context client{ssl::context::tls_client};
};

} // namespace spindle_test

#endif // SPINDLE_TEST_SUPPORT_TLS_HPP
