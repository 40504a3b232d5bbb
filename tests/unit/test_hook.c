/* Webhooks: signatures over the raw body, and what is taken out of the shops' bodies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/conversions/hook.h"
#include "server/conversions/hook_signature.h"

/* Signatures ------------------------------------------------------------------------------------ */

/* openssl dgst -sha256 -hmac hush -binary <<<'{"id":1}' without the line break, in base64. */
#define BODY "{\"id\":1}"
#define GOOD "VnKUjZsLuN5iZWjn5EntcBVCF9kMN43LglzCE1/GSeY="

static struct text text_of(const char *string)
{
    return (struct text){string, strlen(string)};
}

static bool base64(const char *secret, const char *header)
{
    struct text list[] = {TEXT("other"), text_of(secret)};

    return hook_signature_base64(&(struct hook_secrets){list, 2}, text_of(header), TEXT(BODY));
}

static void test_base64(void **state)
{
    static const char *const bad[] = {"",
                                      "=",
                                      "N",
                                      GOOD "=",
                                      GOOD GOOD,
                                      " " GOOD,
                                      GOOD "\n",
                                      "VnKUjZsLuN5iZWjn5EntcBVCF9kMN43LglzCE1/GSeY",
                                      "VnKUjZsLuN5iZWjn5EntcBVCF9kMN43LglzCE1_GSeY=",
                                      "VnKUjZsLuN5iZWjn5EntcBVCF9kMN43LglzCE1/GSeZ=",
                                      "AnKUjZsLuN5iZWjn5EntcBVCF9kMN43LglzCE1/GSeY="};

    (void)state;
    assert_true(base64("hush", GOOD));
    assert_false(base64("Hush", GOOD));
    assert_false(hook_signature_base64(&(struct hook_secrets){NULL, 0}, TEXT(GOOD), TEXT(BODY)));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(base64("hush", bad[i]));
}

/* openssl dgst -sha256 -hmac whsec_1 over "1700000000." and the body. */
#define STRIPE_HEX "572032aef2ff81b2a8d83df0561d9827949d1eaa9748df62de3c83f0d0f0ccda"
#define T1         "t=1700000000"
#define V1         "v1=" STRIPE_HEX
#define ZERO       "0000000000000000000000000000000000000000000000000000000000000000"

static bool stripe(const char *header, int64_t now_s)
{
    struct text list[] = {TEXT("old"), TEXT("whsec_1")};

    return hook_signature_stripe(&(struct hook_secrets){list, 2}, text_of(header), TEXT(BODY),
                                 now_s);
}

static void test_stripe(void **state)
{
    static const char *const bad[] = {"",
                                      "t=",
                                      T1,
                                      V1,
                                      T1 "," T1 "," V1,
                                      "t=1700000001," V1,
                                      "t=-1700000000," V1,
                                      "t= 1700000000," V1,
                                      "t=99999999999999999999," V1,
                                      T1 ",v0=" STRIPE_HEX,
                                      T1 "," V1 "00",
                                      T1 ",v1=",
                                      T1 ";" V1,
                                      T1 ",v1=" ZERO};

    (void)state;
    for (int64_t by = -HOOK_TOLERANCE_S; by <= HOOK_TOLERANCE_S; by += HOOK_TOLERANCE_S)
        assert_true(stripe(T1 "," V1, 1700000000 + by));
    assert_false(stripe(T1 "," V1, 1700000301));
    assert_false(stripe(T1 "," V1, 1699999699));
    assert_true(stripe(T1 ",v1=" ZERO ",v0=" ZERO ",v1=xyz," V1, 1700000000));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(stripe(bad[i], 1700000000));
}

/* Bodies ---------------------------------------------------------------------------------------- */

/* What a body tells, as sorted JSON, or why it tells nothing; to be freed. */
static char *told(enum hook_shop shop, const char *topic, const char *body)
{
    const struct hook hook = {.shop = shop, .topic = topic, .click_param = "kudos_id"};
    struct error why;
    json_t *reports;
    enum hook_outcome outcome = hook_read(&hook, text_of(body), &reports, &why);
    char *text = outcome == HOOK_TOLD ? json_dumps(reports, JSON_COMPACT | JSON_SORT_KEYS) : NULL;

    assert_int_equal(json_array_size(reports) > 0, outcome == HOOK_TOLD);
    json_decref(reports);
    return text ? text : strdup(outcome == HOOK_IGNORED ? "ignored" : "unreadable");
}

struct body_case {
    enum hook_shop shop;
    const char *topic;
    const char *body;
    const char *told; /* apostrophes for quotation marks */
};

static void check_bodies(const struct body_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *body = strdup(cases[i].body), *wanted = strdup(cases[i].told), *text;

        for (char *c = body; *c; c++)
            *c = *c == '\'' ? '"' : *c;
        for (char *c = wanted; *c; c++)
            *c = *c == '\'' ? '"' : *c;
        text = told(cases[i].shop, cases[i].topic, body);
        assert_string_equal(text, wanted);
        free(body);
        free(wanted);
        free(text);
    }
}

#define SALE(id, minor, currency) \
    "'amount_minor':" #minor ",'currency':'" currency "','event':'sale','order_id':'" id "'"
#define SHOPIFY_ORDER "'id':7,'total_price':'10.50','currency':'EUR'"

static void test_shopify(void **state)
{
    static const struct body_case cases[] = {
        {HOOK_SHOPIFY, "orders/create", "{" SHOPIFY_ORDER "}", "[{" SALE("7", 1050, "EUR") "}]"},
        {HOOK_SHOPIFY, "orders/paid", "{'id':7,'total_price':'1000','currency':'jpy'}",
         "[{" SALE("7", 1000, "JPY") "}]"},
        {HOOK_SHOPIFY, "orders/paid", "{'id':7,'total_price':'1000.00','currency':'JPY'}",
         "[{" SALE("7", 1000, "JPY") "}]"},
        {HOOK_SHOPIFY, "orders/updated",
         "{" SHOPIFY_ORDER ",'discount_codes':[{'code':'A'},{'code':'B'}],'email':'a@b.c',"
         "'note_attributes':[{'name':'x','value':'y'},{'name':'kudos_id','value':'click1'}],"
         "'landing_site':'/?kudos_id=click2','created_at':'2026-01-02T03:04:05-05:00',"
         "'line_items':[{'sku':'S','name':'N','quantity':2,'price':'5.25'}],'name':'#1'}",
         "[{'amount_minor':1050,'click_id':'click1','code':'A','currency':'EUR','customer':'a@b.c',"
         "'event':'sale','items':[{'name':'N','quantity':2,'sku':'S'}],"
         "'metadata':{'codes':['A','B'],'order_name':'#1'},"
         "'occurred_at':'2026-01-02T03:04:05-05:00','order_id':'7'}]"},
        {HOOK_SHOPIFY, "orders/create",
         "{" SHOPIFY_ORDER ",'landing_site':'http://s.example/p?a=b&kudos_id=cl-_9#f'}",
         "[{'amount_minor':1050,'click_id':'cl-_9','currency':'EUR','event':'sale',"
         "'order_id':'7'}]"},
        {HOOK_SHOPIFY, "orders/updated",
         "{" SHOPIFY_ORDER
         ",'refunds':[{'id':1,'transactions':[{'kind':'refund','status':'success',"
         "'amount':'1.00'},{'kind':'refund','status':'failure','amount':'9.00'}]},"
         "{'id':2,'refund_line_items':[{'subtotal':2.1,'total_tax':0}],"
         "'order_adjustments':[{'amount':'-0.40','tax_amount':'0.00'}]},{'id':3}]}",
         "[{" SALE("7", 1050, "EUR") "},{'amount_minor':100,'currency':'EUR','event':'refund',"
                                     "'order_id':'7','refund_id':'1'},{'amount_minor':250,'"
                                     "currency':'EUR','event':'refund',"
                                     "'order_id':'7','refund_id':'2'}]"},
        {HOOK_SHOPIFY, "refunds/create",
         "{'id':1,'order_id':7,'created_at':'2026-01-02T03:04:05Z','transactions':[{'kind':'refund'"
         ","
         "'status':'pending','amount':'1.00','currency':'EUR'}]}",
         "[{'amount_minor':100,'currency':'EUR','event':'refund',"
         "'occurred_at':'2026-01-02T03:04:05Z','order_id':'7','refund_id':'1'}]"},
        {HOOK_SHOPIFY, "orders/cancelled",
         "{" SHOPIFY_ORDER ",'cancelled_at':'2026-01-02T03:04:05Z','financial_status':'voided'}",
         "[{" SALE("7", 1050, "EUR") "},{'amount_minor':1050,'currency':'EUR','event':'refund',"
                                     "'occurred_at':'2026-01-02T03:04:05Z','order_id':'7','refund_"
                                     "id':'7/cancelled'}]"},
        {HOOK_SHOPIFY, "orders/create", "{" SHOPIFY_ORDER ",'test':true}",
         "[{'event':'test_sale','order_id':'7'}]"},
        {HOOK_SHOPIFY, "products/update", "{'id':7}", "ignored"},
        {HOOK_SHOPIFY, NULL, "{" SHOPIFY_ORDER "}", "ignored"},
        {HOOK_SHOPIFY, "refunds/create", "{'id':1,'order_id':7}", "ignored"},
        {HOOK_SHOPIFY, "refunds/create", "{" SHOPIFY_ORDER ",'transactions':[{}]}", "unreadable"},
        {HOOK_SHOPIFY, "orders/create", "{'id':7,'total_price':'1,667.80','currency':'EUR'}",
         "unreadable"},
        {HOOK_SHOPIFY, "orders/create", "{'id':7,'total_price':'-1.00','currency':'EUR'}",
         "unreadable"},
        {HOOK_SHOPIFY, "orders/create", "{'id':7,'total_price':'1.005','currency':'EUR'}",
         "unreadable"},
        {HOOK_SHOPIFY, "orders/create", "{'id':7,'total_price':'1.00','currency':'EURO'}",
         "unreadable"},
        {HOOK_SHOPIFY, "orders/create", "{'total_price':'1.00','currency':'EUR'}", "unreadable"},
        {HOOK_SHOPIFY, "orders/create", "{'id':'a\\n','total_price':'1.00','currency':'EUR'}",
         "unreadable"},
        {HOOK_SHOPIFY, "orders/create", "[]", "unreadable"},
        {HOOK_SHOPIFY, "orders/create", "{'id':7", "unreadable"},
        {HOOK_SHOPIFY, "orders/create", "", "unreadable"},
    };

    (void)state;
    check_bodies(cases, sizeof cases / sizeof cases[0]);
}

#define EVENT(type, object) \
    "{'type':'" type "','created':1700000000,'data':{'object':{" object "}}}"
#define AT ",'occurred_at':'2023-11-14T22:13:20Z'"

static void test_stripe_bodies(void **state)
{
    static const struct body_case cases[] = {
        {HOOK_STRIPE, NULL,
         EVENT("checkout.session.completed",
               "'id':'cs_1','amount_total':2421,'currency':'usd','payment_intent':'pi_1',"
               "'payment_status':'paid','client_reference_id':'click','metadata':{'code':'MAYA'},"
               "'customer_details':{'email':'a@b.c'},'livemode':true"),
         "[{'amount_minor':2421,'click_id':'click','code':'MAYA','currency':'USD',"
         "'customer':'a@b.c','event':'sale'" AT ",'order_id':'pi_1'}]"},
        {HOOK_STRIPE, NULL,
         EVENT("checkout.session.async_payment_succeeded",
               "'id':'cs_1','amount_total':5000,'currency':'isk','payment_intent':{'id':'pi_1'},"
               "'metadata':{'order_id':'A-1','kudos_id':'mine'},'client_reference_id':'cart',"
               "'livemode':false,'discounts':[{'promotion_code':'promo_1'}]"),
         "[{'amount_minor':50,'click_id':'mine','currency':'ISK','event':'sale',"
         "'external_id':'pi_1','metadata':{'promotion_code':'promo_1','test':true}" AT
         ",'order_id':'A-1'}]"},
        {HOOK_STRIPE, NULL,
         EVENT("checkout.session.completed", "'id':'cs_1','amount_total':1,'currency':'usd',"
                                             "'payment_status':'unpaid'"),
         "ignored"},
        {HOOK_STRIPE, NULL, EVENT("checkout.session.completed", "'id':'cs_1','mode':'setup'"),
         "ignored"},
        {HOOK_STRIPE, NULL,
         EVENT("payment_intent.succeeded",
               "'object':'payment_intent','id':'pi_1','amount_received':3,'currency':'mga'"),
         "[{'amount_minor':300,'currency':'MGA','event':'sale'" AT ",'order_id':'pi_1'}]"},
        {HOOK_STRIPE, NULL,
         EVENT(
             "charge.refunded",
             "'id':'ch_1','payment_intent':'pi_1','currency':'eur','amount_refunded':300,"
             "'refunds':{'data':[{'id':'re_1','amount':100,'currency':'eur','created':1700000000},"
             "{'id':'re_2','amount':200,'currency':'eur','status':'failed'}]}"),
         "[{'amount_minor':100,'currency':'EUR','event':'refund'" AT
         ",'order_id':'pi_1','refund_id':'re_1'}]"},
        {HOOK_STRIPE, NULL,
         "{'type':'charge.refunded','created':1700000000,'data':{'previous_attributes':"
         "{'amount_refunded':100},'object':{'id':'ch_1','currency':'eur','amount_refunded':300}}}",
         "[{'amount_minor':200,'currency':'EUR','event':'refund'" AT
         ",'order_id':'ch_1','refund_id':'ch_1/300'}]"},
        {HOOK_STRIPE, NULL,
         EVENT("refund.created", "'object':'refund','id':'re_1','amount':100,'currency':'eur',"
                                 "'charge':'ch_1','payment_intent':'pi_1','created':1700000000"),
         "[{'amount_minor':100,'currency':'EUR','event':'refund'" AT
         ",'order_id':'pi_1','refund_id':'re_1'}]"},
        {HOOK_STRIPE, NULL,
         EVENT("checkout.session.completed",
               "'id':'cs_1','mode':'subscription','amount_total':990,'currency':'eur',"
               "'payment_intent':null,'invoice':'in_1','subscription':'sub_1',"
               "'metadata':{'kudos_id':'one two'}"),
         "[{'amount_minor':990,'click_ids':['one','two'],'currency':'EUR','event':'sale'" AT
         ",'order_id':'in_1'}]"},
        {HOOK_STRIPE, NULL,
         EVENT("invoice.paid",
               "'id':'in_2','billing_reason':'subscription_cycle','amount_paid':990,"
               "'currency':'eur','payment_intent':'pi_2','customer_email':'a@b.c',"
               "'subscription_details':{'metadata':{'kudos_id':'click','order_id':'A-1'}},"
               "'discount':{'coupon':{'id':'MAYA10','name':'Maya'},'promotion_code':'promo_1'},"
               "'status_transitions':{'paid_at':1700000060}"),
         "[{'amount_minor':990,'click_id':'click','currency':'EUR','customer':'a@b.c',"
         "'event':'sale','external_id':'pi_2','metadata':{'billing_reason':'subscription_cycle',"
         "'codes':['MAYA10','Maya'],'promotion_code':'promo_1'},"
         "'occurred_at':'2023-11-14T22:14:20Z','order_id':'in_2'}]"},
        {HOOK_STRIPE, NULL,
         EVENT("invoice.payment_succeeded",
               "'id':'in_1','billing_reason':'subscription_create','amount_paid':990,"
               "'currency':'eur','parent':{'subscription_details':{'metadata':{'order_id':'A-1',"
               "'code':'MAYA'}}},'discounts':[{'source':{'coupon':'MAYA10'}}]"),
         "[{'amount_minor':990,'code':'MAYA','currency':'EUR','event':'sale',"
         "'external_id':'in_1','metadata':{'billing_reason':'subscription_create',"
         "'codes':['MAYA','MAYA10']}" AT ",'order_id':'A-1'}]"},
        {HOOK_STRIPE, NULL,
         EVENT("invoice.paid", "'id':'in_1','billing_reason':'manual','amount_paid':1,"
                               "'currency':'eur'"),
         "ignored"},
        {HOOK_STRIPE, NULL,
         EVENT("invoice.paid", "'id':'in_1','billing_reason':'subscription_create',"
                               "'amount_paid':0,'currency':'eur'"),
         "ignored"},
        {HOOK_STRIPE, NULL,
         EVENT("invoice.paid", "'id':'in_1','billing_reason':'subscription_cycle',"
                               "'amount_paid':-1,'currency':'eur'"),
         "unreadable"},
        {HOOK_STRIPE, NULL,
         EVENT("invoice_payment.paid", "'id':'inpay_1','invoice':'in_2','amount_paid':990,"
                                       "'currency':'eur','payment':{'payment_intent':'pi_2'}"),
         "[{'event':'sale','external_id':'pi_2','order_id':'in_2'}]"},
        {HOOK_STRIPE, NULL,
         EVENT("invoice_payment.paid", "'invoice':'in_2','payment':{'type':'out_of_band'}"),
         "ignored"},
        {HOOK_STRIPE, NULL,
         EVENT("payment_intent.succeeded",
               "'object':'payment_intent','id':'pi_2','amount_received':990,'currency':'eur',"
               "'payment_details':{'order_reference':'in_2'}"),
         "[{'amount_minor':990,'currency':'EUR','event':'sale','external_id':'pi_2'" AT
         ",'order_id':'in_2'}]"},
        {HOOK_STRIPE, NULL, EVENT("customer.created", "'id':'cus_1'"), "ignored"},
        {HOOK_STRIPE, "checkout.session.completed", "{'data':{'object':{}}}", "unreadable"},
        {HOOK_STRIPE, NULL, "{'type':'charge.refunded','data':[]}", "unreadable"},
        {HOOK_STRIPE, NULL,
         EVENT("payment_intent.succeeded", "'id':'pi_1','amount_received':1.5,'currency':'eur'"),
         "unreadable"},
        {HOOK_STRIPE, NULL,
         EVENT("payment_intent.succeeded", "'id':'pi_1','amount_received':150,'currency':'isk'"),
         "unreadable"},
    };

    (void)state;
    check_bodies(cases, sizeof cases / sizeof cases[0]);
}

#define WOO "'id':727,'total':'27.35','currency':'USD'"

static void test_woocommerce(void **state)
{
    static const struct body_case cases[] = {
        {HOOK_WOOCOMMERCE, "order.created",
         "{" WOO ",'status':'completed','number':'W-1','date_created_gmt':'2017-03-22T19:28:02',"
         "'billing':{'email':'a@b.c'},'coupon_lines':[{'code':'maya10'}],"
         "'meta_data':[{'key':'_wc_order_attribution_session_entry',"
         "'value':'https://s.example/?kudos_id=click&x'}]}",
         "[{'amount_minor':2735,'click_id':'click','code':'maya10','currency':'USD',"
         "'customer':'a@b.c','event':'sale','metadata':{'order_number':'W-1'},"
         "'occurred_at':'2017-03-22T19:28:02Z','order_id':'727'}]"},
        {HOOK_WOOCOMMERCE, "order.updated",
         "{" WOO ",'status':'refunded','customer_id':5,'refunds':[{'id':1,'total':'-10.00'},"
         "{'id':2,'total':'-0.35'}]}",
         "[{'amount_minor':2735,'currency':'USD','customer':'5','event':'sale','order_id':'727'},"
         "{'amount_minor':1000,'currency':'USD','event':'refund','order_id':'727','refund_id':'1'},"
         "{'amount_minor':35,'currency':'USD','event':'refund','order_id':'727','refund_id':'2'}]"},
        {HOOK_WOOCOMMERCE, "order.updated", "{" WOO ",'status':'cancelled','payment_method':'cod'}",
         "[{" SALE("727", 2735, "USD") "},{'amount_minor':2735,'currency':'USD','event':'refund',"
                                       "'order_id':'727','refund_id':'727/cancelled'}]"},
        {HOOK_WOOCOMMERCE, "order.updated", "{" WOO ",'status':'on-hold','date_paid':'2017'}",
         "[{" SALE("727", 2735, "USD") "}]"},
        {HOOK_WOOCOMMERCE, "order.created", "{" WOO ",'status':'pending','date_paid':null}",
         "ignored"},
        {HOOK_WOOCOMMERCE, "order.deleted", "{'id':727}", "ignored"},
        {HOOK_WOOCOMMERCE, "order.created", "{" WOO "}", "unreadable"},
        {HOOK_WOOCOMMERCE, "order.created", "{'id':1,'status':'completed','total':'x'}",
         "unreadable"},
        {HOOK_WOOCOMMERCE, "order.updated",
         "{" WOO ",'status':'completed','refunds':[{'total':'-1.00'}]}", "unreadable"},
    };

    (void)state;
    check_bodies(cases, sizeof cases / sizeof cases[0]);
}

/* Several click ids, as the page keeps them: oldest first, and the last ones count. */
static void test_several_clicks(void **state)
{
    static const struct body_case cases[] = {
        {HOOK_SHOPIFY, "orders/create",
         "{'id':7,'total_price':'1.00','currency':'EUR','note_attributes':["
         "{'name':'kudos_ids','value':'[\\\"a\\\",\\\"b-_c\\\"]'}],"
         "'landing_site':'/?kudos_id=other'}",
         "[{'amount_minor':100,'click_ids':['a','b-_c'],'currency':'EUR','event':'sale',"
         "'order_id':'7'}]"},
        {HOOK_WOOCOMMERCE, "order.created",
         "{" WOO ",'status':'completed','meta_data':[{'key':'_kudos_ids','value':'a, b c'},"
         "{'key':'kudos_id','value':' d'}]}",
         "[{'amount_minor':2735,'click_id':'d','click_ids':['a','b','c'],'currency':'USD',"
         "'event':'sale','order_id':'727'}]"},
        {HOOK_SHOPIFY, "orders/create",
         "{'id':7,'total_price':'1.00','currency':'EUR','note_attributes':["
         "{'name':'kudos_id','value':'1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21'}]}",
         "[{'amount_minor':100,'click_ids':['2','3','4','5','6','7','8','9','10','11','12','13',"
         "'14','15','16','17','18','19','20','21'],'currency':'EUR','event':'sale',"
         "'order_id':'7'}]"},
        {HOOK_SHOPIFY, "orders/create",
         "{'id':7,'total_price':'1.00','currency':'EUR','note_attributes':["
         "{'name':'kudos_id','value':' ,, '}]}",
         "[{'amount_minor':100,'currency':'EUR','event':'sale','order_id':'7'}]"},
    };

    (void)state;
    check_bodies(cases, sizeof cases / sizeof cases[0]);
}

/* An order has at most so many refunds here; and what is odd is left out, not refused. */
static void test_limits(void **state)
{
    char *body = malloc(HOOK_BODY_MAX), *at = body, *text;
    char name[400];

    (void)state;
    assert_non_null(body);
    at += sprintf(at, "{\"id\":7,\"total_price\":\"1.00\",\"currency\":\"EUR\",\"refunds\":[");
    for (int i = 0; i < HOOK_REPORTS_MAX; i++)
        at += sprintf(at, "%s{\"id\":%d,\"refund_line_items\":[{\"subtotal\":\"1.00\"}]}",
                      i ? "," : "", i + 1);
    sprintf(at, "]}");
    text = told(HOOK_SHOPIFY, "orders/updated", body);
    assert_string_equal(text, "unreadable");
    free(text);
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    sprintf(body,
            "{\"id\":7,\"total_price\":\"1.00\",\"currency\":\"EUR\",\"created_at\":\"never\","
            "\"email\":\"a\\nb\",\"note_attributes\":[{\"name\":\"kudos_id\",\"value\":\"%s\"},7],"
            "\"discount_codes\":[{\"code\":\"%s\"},{\"code\":\"  \"}],\"name\":\"%s\"}",
            name, name, name);
    text = told(HOOK_SHOPIFY, "orders/create", body);
    assert_string_equal(text, "[{\"amount_minor\":100,\"currency\":\"EUR\",\"event\":\"sale\","
                              "\"order_id\":\"7\"}]");
    free(text);
    free(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base64),         cmocka_unit_test(test_stripe),
        cmocka_unit_test(test_several_clicks), cmocka_unit_test(test_shopify),
        cmocka_unit_test(test_stripe_bodies),  cmocka_unit_test(test_woocommerce),
        cmocka_unit_test(test_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
